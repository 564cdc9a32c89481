"""Work with trained models: deploy and compare them."""
