"""Tests of simulators of others as arms: the contract, their programs and tables, and what is recorded of them."""
