"""Code generated from `../proto/ops.proto` by `make proto` (`python -m tests.llb.generate`); not edited by hand."""
