"""What do we know about this customer?"""
