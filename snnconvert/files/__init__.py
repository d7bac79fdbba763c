"""Files, whatever they hold: written atomically, read without code, told apart by a hash."""
