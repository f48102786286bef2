"""Write a model's file for another runtime, and measure what it loses."""
