"""The errors a person meets, each one line that says what to do."""


class TradecoreError(Exception):
    """Base of every error whose message is meant for the person at the keyboard."""


class UsageError(TradecoreError):
    """The request itself is wrong (the CLI exits with 2)."""


class SettingsError(UsageError):
    """A setting is unknown or has an impossible value; the message names its key."""


class SourceError(TradecoreError):
    """A source answered with something that must not be stored; nothing was written for that day."""


class SourceUnavailableError(SourceError):
    """A source cannot be reached, or refuses to serve this caller (geo-block, ban)."""


class InvalidDataError(SourceError):
    """A payload or file breaks its contract: malformed, outside its window, or impossible values."""


class ChecksumError(InvalidDataError):
    """An archive file is not the one its published checksum describes."""


class MixedHomeError(TradecoreError):
    """A home would hold days of two different markets (simulated and real)."""


class MissingInputError(TradecoreError):
    """Earlier stages have not produced what this one reads; the message names what is missing."""


class NotEnoughHistoryError(MissingInputError):
    """A training window holds fewer bars than the settings ask for."""


class RegistryError(TradecoreError):
    """The model registry cannot be read or written; the message says which part, and what to do."""


class ModelFitError(TradecoreError):
    """No acceptable model came out of a fit; the message says why."""


class FilterStateError(TradecoreError):
    """A saved filter state cannot be used; the message says why and what to do."""
