#!/usr/bin/env python3
"""The reading of SPDX expressions, by a table."""

import unittest

from sbom import is_allowed


class Expressions(unittest.TestCase):
    def test_an_expression_is_allowed_when_allowed_licences_meet_it(self):
        for expression, expected in {
            "MIT": True,
            "GPL-3.0-only": False,
            "": False,
            "MIT OR GPL-3.0-only": True,
            "GPL-3.0-only OR MIT": True,
            "MIT AND GPL-3.0-only": False,
            "MIT/Apache-2.0": True,
            "(MIT OR Apache-2.0) AND Unicode-3.0": True,
            "(MIT OR Apache-2.0) AND OFL-1.1": False,
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only": True,
            "Apache-2.0 WITH Some-exception": False,
            "MIT OR (GPL-2.0-only AND BSD-2-Clause)": True,
            "MIT MIT": False,
        }.items():
            with self.subTest(expression):
                self.assertEqual(is_allowed(expression), expected)


if __name__ == "__main__":
    unittest.main(verbosity=0)
