"""What can be wrong with an import as a whole. Each text says what, where and what to do; none holds a VIN."""


class LogImportError(Exception):
    """The import cannot be done; nothing was landed."""


class LogUnreadableError(LogImportError):
    """The file is missing, is no regular file, may not be read, or holds no rows."""


class HeaderMismatchError(LogImportError):
    """No line of the file is the header that the format describes."""


class FormatError(LogImportError):
    """A format is unknown, or its description is not valid."""


class FormatUndetectedError(LogImportError):
    """No built-in format fits the file's header, or more than one does."""


class AmbiguousLogError(LogImportError):
    """The file can be read in more than one way; the text says what to pass."""


class OptionError(LogImportError):
    """The vehicle identification number, the date or the time zone does not do."""


class BalanceError(AssertionError):
    """The importer lost count of its readings. That is a fault of the program, not of the file."""
