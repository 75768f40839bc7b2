"""What the text-driven methods learn, and how."""
