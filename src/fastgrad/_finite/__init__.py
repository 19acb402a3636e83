"""How finite differences are made: of any callable, dense or sparse."""
