"""What onspot's end-to-end tests need and LocalStack's free edition lacks."""
