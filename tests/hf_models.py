"""Models of transformers and diffusers with small configurations and random weights.

In: nothing, or entries of the configuration. Out: a model. Each function imports what it needs.
"""


def filled(model, name):
    """Give codebooks, which start as zeros, vectors."""
    for each in model.modules():
        if type(each).__name__.endswith("EuclideanCodebook"):
            getattr(each, name).normal_()
    return model


def encodec(**options):
    import transformers as hf

    config = hf.EncodecConfig(
        num_filters=4,
        hidden_size=16,
        codebook_dim=16,
        codebook_size=64,
        num_lstm_layers=1,
        upsampling_ratios=[4, 4],
        **{"target_bandwidths": [9.0, 18.0]} | options,
    )
    return filled(hf.EncodecModel(config), "embed")


def dac():
    import transformers as hf

    config = hf.DacConfig(
        encoder_hidden_size=8,
        downsampling_ratios=[4, 4],
        upsampling_ratios=[4, 4],
        decoder_hidden_size=16,
        hidden_size=32,
        n_codebooks=3,
        codebook_size=64,
        codebook_dim=8,
    )
    return hf.DacModel(config)


def mimi():
    import transformers as hf

    config = hf.MimiConfig(
        hidden_size=16,
        num_filters=4,
        upsampling_ratios=[4, 4],
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        codebook_dim=16,
        vector_quantization_hidden_dimension=16,
        codebook_size=64,
        num_quantizers=3,
        num_semantic_quantizers=1,
        frame_rate=12.5,
        sampling_rate=400,
        upsample_groups=16,
    )
    return filled(hf.MimiModel(config), "embed_sum")


def xcodec():
    import transformers as hf

    config = hf.XcodecConfig(**_two_encoders(16000))
    return filled(hf.XcodecModel(config), "embed")


def higgs_audio_v2_tokenizer():
    """Make a small model whose encoders have the published steps, which its padding goes by."""
    import transformers as hf

    options = _two_encoders(16000)
    acoustic, semantic = options["acoustic_model_config"], options["semantic_model_config"]
    ratios = [8, 5, 4, 2]
    acoustic |= {"downsampling_ratios": ratios, "upsampling_ratios": ratios}
    acoustic |= {"decoder_hidden_size": 16}
    options["target_bandwidths"] = [0.6]
    strides, kernels = [5, 2, 2, 2, 2, 2, 2], [10, 3, 3, 3, 3, 2, 2]
    semantic |= {"conv_dim": [4] * 7, "conv_stride": strides, "conv_kernel": kernels}
    config = hf.HiggsAudioV2TokenizerConfig(**options)
    return filled(hf.HiggsAudioV2TokenizerModel(config), "embed")


def _two_encoders(sample_rate):
    return {
        "target_bandwidths": [12.0],
        "sample_rate": sample_rate,
        "codebook_size": 64,
        "codebook_dim": 24,
        "acoustic_model_config": {
            "model_type": "dac",
            "encoder_hidden_size": 4,
            "downsampling_ratios": [4, 4],
            "upsampling_ratios": [4, 4],
            "decoder_hidden_size": 8,
            "hidden_size": 8,
            "codebook_size": 64,
        },
        "semantic_model_config": {
            "model_type": "hubert",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "conv_dim": [4, 4],
            "conv_stride": [4, 4],
            "conv_kernel": [4, 4],
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "feat_extract_norm": "group",
            "do_stable_layer_norm": False,
        },
    }


def vq_model():
    from diffusers import VQModel

    return VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        num_vq_embeddings=64,
        mid_block_add_attention=False,
    )


def chameleon_vqgan():
    import transformers as hf

    return hf.ChameleonVQVAE(hf.ChameleonVQVAEConfig(attn_resolutions=None, **_VQGAN))


def janus_vqgan():
    import transformers as hf

    config = hf.JanusVQVAE.config_class(num_patches=8, **_VQGAN)
    return hf.JanusVQVAE(config)


def emu3_vqgan():
    import transformers as hf

    options = {name: value for name, value in _VQGAN.items() if name != "num_embeddings"}
    config = hf.Emu3VQVAEConfig(
        codebook_size=64,
        attn_resolutions=[],
        temporal_downsample_factor=2,
        hidden_size=32,
        num_attention_heads=1,
        **options,
    )
    return hf.Emu3VQVAE(config)


_VQGAN = {
    "embed_dim": 8,
    "num_embeddings": 64,
    "latent_channels": 8,
    "double_latent": False,
    "base_channels": 32,
    "channel_multiplier": [1, 1],
    "num_res_blocks": 1,
}
