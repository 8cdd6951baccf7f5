"""What derivatives cost: FLOPs, modes compared, products and estimates."""
