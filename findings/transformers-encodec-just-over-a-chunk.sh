#!/bin/sh
# EnCodec of 48 kHz encodes sounds of any length, except 1 to 160 samples over a multiple of its stride.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check transformers==5.23.0 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import torch
import transformers

print("transformers", transformers.__version__)
config = transformers.EncodecConfig(  # chunks as in facebook/encodec_48khz, of a small network
    sampling_rate=48000,
    audio_channels=2,
    normalize=True,
    chunk_length_s=1.0,
    overlap=0.01,
    norm_type="time_group_norm",
    use_causal_conv=False,
    target_bandwidths=[3.0],
    num_filters=4,
    hidden_size=16,
    codebook_dim=16,
    codebook_size=16,
    num_lstm_layers=1,
)
model = transformers.EncodecModel(config).eval()
print("a chunk has", config.chunk_length, "samples; the next one begins after", config.chunk_stride)
seen = []
for more in (0, 1, 160, 161):
    length = 2 * config.chunk_stride + more
    try:
        with torch.no_grad():
            codes = model.encode(torch.ones(1, 2, length)).audio_codes
        seen.append(codes.shape[0])
        print(length, "samples:", codes.shape[0], "chunks")
    except RuntimeError as error:
        seen.append(None)
        print(length, "samples:", error)
assert seen == [2, None, None, 3]
EOF
