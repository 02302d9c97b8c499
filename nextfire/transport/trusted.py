"""Trusted documents: those of a manifest, asked for by their SHA-256, and no others.

GraphQL over HTTP, appendix Persisted Documents, has the identifier in `documentId`; Apollo's clients have it in
`extensions.persistedQuery.sha256Hash`.
"""

from __future__ import annotations

from collections.abc import Mapping

from nextfire.transport.refusal import Refusal
from nextfire.transport.requests import GraphQLRequest

TRUSTED_DOCUMENTS_ONLY = "TRUSTED_DOCUMENTS_ONLY"
NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
NOT_SUPPORTED = "PERSISTED_QUERY_NOT_SUPPORTED"
PREFIX = "sha256:"


class TrustedDocuments:
    """The texts of the documents that a request may name, by their SHA-256 in hexadecimal; None: any text may come."""

    def __init__(self, texts: Mapping[str, str] | None) -> None:
        self._texts = texts

    def source(self, request: GraphQLRequest) -> str:
        """The text of the document that a request is about. Raises `Refusal`."""
        identifier = request.document_id
        if self._texts is None:
            if request.query:
                return request.query
            raise Refusal(400, NOT_SUPPORTED, "This server keeps no documents: send the document itself in 'query'.")
        if identifier is None:
            raise Refusal(
                400, TRUSTED_DOCUMENTS_ONLY, "This server runs trusted documents only: name one by 'documentId'."
            )
        text = self._texts.get(identifier.removeprefix(PREFIX))
        if text is None:
            raise Refusal(400, NOT_FOUND, "There is no trusted document of this identifier.")
        return text
