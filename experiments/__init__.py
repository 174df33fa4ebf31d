"""How do we try, measure and promote?"""
