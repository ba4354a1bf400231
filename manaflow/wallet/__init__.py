"""The wallet: keys, declaring by intent, explanations in words, and talking to nodes that it does not trust."""
