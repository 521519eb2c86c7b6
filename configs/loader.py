"""Reads the configuration folder and the environment; the only way into the program for either.

Everything is checked before anything starts, and everything that is wrong is said at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from configs.check import close_match, problem_at, validate
from configs.environment import load_environment, require_mode
from configs.errors import ConfigCode, ConfigError, Problem, raise_all
from configs.folder import default_folder
from configs.lock import GOVERNANCE_FILE, compare, digest_of, plain, shown
from configs.schema import Frozen
from configs.validators import Blackouts, Configuration, EnableMap, Governance, StrategiesFile, SymbolsFile
from configs.yaml_source import Document, read

__all__ = ["FILES", "default_folder", "load", "load_environment", "require_mode"]

FILES: Mapping[str, type[Frozen]] = {
    GOVERNANCE_FILE: Governance,
    "enable_map.yaml": EnableMap,
    "symbols.yaml": SymbolsFile,
    "strategies.yaml": StrategiesFile,
    "blackouts.yaml": Blackouts,
}


def load(folder: Path | None = None) -> Configuration:
    """Read, check and compare every file of a configuration folder.

    Args:
        folder: where the files are; the program's own when None.

    Raises:
        ConfigError: anything is wrong (exit code 2); holds every problem of every file.
        GovernanceLockError: all is well but the limits are not those that were signed (exit code 3).
    """
    folder = default_folder() if folder is None else folder
    if not folder.is_dir():
        help_text = "name the folder that holds governance.yaml with --configs"
        raise ConfigError([Problem(ConfigCode.FILE_MISSING, "the folder is not there", shown(folder), help=help_text)])
    documents: dict[str, Document] = {}
    models: dict[str, Frozen] = {}
    problems: list[Problem] = []
    for name, schema in FILES.items():
        documents[name], found = read(folder / name, shown(folder / name))
        model = None
        if not found:
            model, found = validate(schema, documents[name])
        if model is not None:
            models[name] = model
        problems += found
    problems += _across(models, documents)
    governance = models.get(GOVERNANCE_FILE)
    if isinstance(governance, Governance):
        problems += compare(governance, folder).problems
    raise_all(problems)
    return _assembled(models)


def _assembled(models: Mapping[str, Frozen]) -> Configuration:
    parts = {name.removesuffix(".yaml"): model for name, model in models.items()}
    values = {name: plain(model) for name, model in parts.items()}
    values["symbols"].pop("defaults")  # shared values; they stand in each instrument already
    governance = digest_of(values["governance"])
    return Configuration.model_validate({**parts, "governance_digest": governance, "digest": digest_of(values)})


def _across(models: Mapping[str, Frozen], documents: Mapping[str, Document]) -> Iterator[Problem]:
    """What no single file can know: two files that contradict each other. Files that are wrong are left out."""
    governance = models.get(GOVERNANCE_FILE)
    enable_map, strategies = models.get("enable_map.yaml"), models.get("strategies.yaml")
    symbols, blackouts = models.get("symbols.yaml"), models.get("blackouts.yaml")
    if isinstance(governance, Governance):
        if isinstance(enable_map, EnableMap):
            yield from _rules_agree(governance, enable_map, documents["enable_map.yaml"])
        if isinstance(strategies, StrategiesFile):
            yield from _confirmation(governance, strategies, documents["strategies.yaml"])
    if isinstance(enable_map, EnableMap) and isinstance(strategies, StrategiesFile):
        yield from _enabled_are_scored(enable_map, strategies, documents["enable_map.yaml"])
    if isinstance(symbols, SymbolsFile) and isinstance(blackouts, Blackouts):
        yield from _blackouts_name_symbols(symbols, blackouts, documents["blackouts.yaml"])


def _rules_agree(governance: Governance, enable_map: EnableMap, document: Document) -> Iterator[Problem]:
    for name in ("min_bars_hold", "cooldown_after_2_losses"):
        locked, here = getattr(governance, name), getattr(enable_map.switching_rules, name)
        if locked != here:
            what = f"switching_rules.{name} is {here}, but governance.yaml says {locked}"
            yield _disagree(document, ("switching_rules", name), what, f"{locked}, as in governance.yaml")


def _confirmation(governance: Governance, strategies: StrategiesFile, document: Document) -> Iterator[Problem]:
    bars, least = strategies.regimes.confirm_bars, governance.min_bars_hold
    if bars < least:
        what = f"regimes.confirm_bars is {bars}, below min_bars_hold of governance.yaml"
        yield _disagree(document, ("regimes", "confirm_bars"), what, f"{least} or more")


def _enabled_are_scored(enable_map: EnableMap, strategies: StrategiesFile, document: Document) -> Iterator[Problem]:
    for regime, names in enable_map.regimes.items():
        for i, name in enumerate(names):
            if regime not in strategies.score.regime_fit.get(name, {}):
                what = f"regimes.{regime}[{i}] enables {name}, but score.regime_fit of strategies.yaml gives it no points there"
                yield _disagree(document, ("regimes", regime, i), what, f"strategies with points for {regime}")


def _blackouts_name_symbols(symbols: SymbolsFile, blackouts: Blackouts, document: Document) -> Iterator[Problem]:
    known = tuple(symbols.by_name())
    for w, window in enumerate(blackouts.windows):
        for i, symbol in enumerate(window.symbols):
            if symbol not in known:
                what = f"windows[{w}].symbols[{i}] names {symbol}, which symbols.yaml does not have"
                help_text = close_match(symbol, known) or "add it to symbols.yaml, or remove it here"
                yield _disagree(document, ("windows", w, "symbols", i), what, "a symbol of symbols.yaml", help_text)


def _disagree(
    document: Document, path: tuple[str | int, ...], what: str, allowed: str, help_text: str = "make the two files agree"
) -> Problem:
    return problem_at(document, ConfigCode.FILES_DISAGREE, path, what, allowed_text=allowed, help_text=help_text)
