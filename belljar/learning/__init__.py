"""What traces teach: estimates, surprise, and which run to look at again. Pure: arrays in, arrays out."""
