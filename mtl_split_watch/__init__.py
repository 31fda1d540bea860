"""The watch node: what the vehicles see and what their nodes say, as a page in the browser."""
