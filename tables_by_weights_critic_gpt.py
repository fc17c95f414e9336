# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Calibration tables of a model whose weights may change under them, by adapters for instance: each has its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .adapters_critic_gpt import effective_weights, has_adapters
from .calibration_critic_gpt import CriticCalibration, weights_fingerprint


class TablesByWeightsMixin:
    """
    Gives a model the attributes `calibration` and `trajectory_calibration`: each a [`CriticCalibration`] or `None`.

    A table belongs to the weights that were there when it was set. Where adapters are exchanged, disabled or merged,
    the attributes follow: they give the table of the weights that the model then computes with, which after merging
    an adapter is the adapter's, and `None` for weights that nothing was measured on.
    """

    def fingerprint(self, adapted: bool = True) -> str | None:
        """
        Identifies the present weights ([`weights_fingerprint`]), as merging the active adapters would leave them.

        Args:
            adapted (`bool`, *optional*, defaults to `True`): `False` looks at the weights below the adapters.
        """
        return weights_fingerprint(effective_weights(self, adapted))

    @property
    def calibration(self) -> CriticCalibration | None:
        """The table measured on masks filled in one shot."""
        return self._present_table("one_shot")

    @calibration.setter
    def calibration(self, table: CriticCalibration | None) -> None:
        self._set_table("one_shot", table)

    @property
    def trajectory_calibration(self) -> CriticCalibration | None:
        """The table measured along the steps of one sampler."""
        return self._present_table("trajectory")

    @trajectory_calibration.setter
    def trajectory_calibration(self, table: CriticCalibration | None) -> None:
        self._set_table("trajectory", table)

    def drop_calibration(self) -> None:
        """Takes all tables off the model: of weights that change they say nothing."""
        self.__dict__.pop("_calibration_tables", None)

    @contextmanager
    def without_calibration(self) -> Iterator[None]:
        """Within it the model has no tables."""
        kept = self.__dict__.pop("_calibration_tables", {})
        try:
            yield
        finally:
            self.__dict__["_calibration_tables"] = kept

    def _tables(self, source: str) -> dict[str | None, CriticCalibration]:
        """The tables of a source by the fingerprints of their weights."""
        return self.__dict__.setdefault("_calibration_tables", {}).setdefault(source, {})

    def _present_table(self, source: str) -> CriticCalibration | None:
        tables = self._tables(source)
        if not tables:
            return None
        present = self.fingerprint()
        if present in tables:
            return tables[present]
        # Of weights that are not at hand nothing is known; those of float16 have been rounded in another way.
        unknown = present is None or None in tables or self.dtype == torch.float16
        return next(iter(tables.values())) if unknown and len(tables) == 1 and not has_adapters(self) else None

    def _set_table(self, source: str, table: CriticCalibration | None) -> None:
        tables = self._tables(source)
        if not has_adapters(self):
            tables.clear()
        if table is not None:
            tables[self.fingerprint()] = table
        elif tables:
            tables.pop(self.fingerprint(), None)
