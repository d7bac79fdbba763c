"""What happens to a program before its neurons are placed: rewrites, their places, problems."""
