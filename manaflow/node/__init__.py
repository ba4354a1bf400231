"""The node: JSON-RPC over HTTP and WebSocket."""
