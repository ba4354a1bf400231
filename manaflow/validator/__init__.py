"""One validator: kernels over columns, the index, storage, import and undo."""
