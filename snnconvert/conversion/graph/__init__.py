"""A captured network as data: values, operations, signature."""
