"""Parse XML from anyone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskyolo.errors import DatasetError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["parse_xml"]


def parse_xml(data: bytes, name: str) -> Element:
    """Parse the bytes of an XML file.

    Args:
        data: the XML.
        name: the file, for error messages.

    Raises:
        DatasetError: not XML, or XML with a DOCTYPE, which could expand to gigabytes.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root: Element = fromstring(data.removeprefix(b"\xef\xbb\xbf").lstrip(), forbid_dtd=True)
    except DefusedXmlException:
        raise DatasetError(
            f"{name}: XML with a DOCTYPE, which is refused for safety", "remove the DOCTYPE"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{name}: damaged XML: {error}", "correct the file") from None
    return root
