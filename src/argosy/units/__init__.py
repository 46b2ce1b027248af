"""The unit-file language: from exact bytes to what they mean, with diagnostics like a compiler's."""
