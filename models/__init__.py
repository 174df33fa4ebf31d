"""Which offer would we choose, and may we?"""
