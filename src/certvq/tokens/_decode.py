"""Tokens back to pictures.

In: the content of a token file and the model that encoded it. Out: reconstructions. Must not look
at photographs.
"""

from certvq._types import Progress, UInt8, UInt8Array, no_progress
from certvq.errors import DigestMismatchError, FileFormatError
from certvq.models import VQVAE, codebook_digest, model_digest
from certvq.tokens._network import inference, photograph_pixels
from certvq.tokens._record import TokenFile


def decode_tokens(
    token_file: TokenFile, model: VQVAE, *, progress: Progress = no_progress
) -> dict[str, UInt8[UInt8Array, "H W C"]]:
    """Decode every photograph of a token file.

    Args:
        token_file: from `read_tokens`.
        model: the one that encoded, on any device, in any mode; put back into its mode afterwards.
        progress: called after each photograph.

    Returns:
        By key, uint8 (H, W, C).

    Raises:
        OptionError: the model's quantizer is not ``"vq"``, of which such files are made.
        DigestMismatchError: the tokens were made with another codebook or another model.
        FileFormatError: the header or a record contradicts the model in spite of equal digests: the
            number of codes or channels, or the grid of tokens of a photograph.
        NonFiniteError: the decoder gave NaN; the photograph is named.

    Guarantee: the very bytes that `encode_photographs` reported, on the same machine with as many
    threads.
    """
    _require_origin(token_file, model)
    pictures: dict[str, UInt8Array] = {}
    with inference(model):
        for record in token_file.records:
            height, width = record.size
            pictures[record.key] = photograph_pixels(
                model, record.codes.reshape(record.shape), size=(height, width), key=record.key
            )
            progress("decoding", len(pictures), len(token_file.records))
    return pictures


def _require_origin(token_file: TokenFile, model: VQVAE) -> None:
    header, name = token_file.header, _name(token_file)
    for what, wanted, found in (
        ("codebook", header.codebook_sha256, codebook_digest(model.only_codebook("decode_tokens"))),
        ("model", header.model_sha256, model_digest(model)),
    ):
        if wanted != found:
            raise DigestMismatchError(
                f"{name} made with the {what} {wanted[:12]}, but the model given has the {what} "
                f"{found[:12]}; decode with the model that encoded"
            )
    own = (model.config.codebook_size, model.config.channels)
    if (header.codebook_size, header.channels) != own:
        raise FileFormatError(
            f"{name} said to have {header.codebook_size} codes and {header.channels} channels, but "
            f"the model has {own[0]} and {own[1]}; encode the photographs again"
        )
    stride = model.config.downsampling
    for record in token_file.records:
        if min(record.size) < stride or model.token_grid(*record.size) != record.shape:
            raise FileFormatError(
                f"{name} said to have {record.shape[0]} x {record.shape[1]} tokens for the "
                f"{record.size[0]} x {record.size[1]} pixels of {record.key!r}, which does not fit "
                f"the model's stride of {stride}; encode the photographs again"
            )


def _name(token_file: TokenFile) -> str:
    return "the tokens are" if token_file.path is None else f"{token_file.path}: the tokens are"
