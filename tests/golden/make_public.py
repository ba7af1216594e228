"""public_resnet.pth, public_sam.pth, public_medclip.bin: small files of torch.save under the names of the public checkpoints,
which come from the public packages' own modules; values of philox.weight. Versions in public_versions.txt.

ResNet: torchvision's, a block a stage, every width a sixteenth, in the form before zip archives and without
num_batches_tracked, as the file of 2017 is. SAM: segment-anything's Sam. MedCLIP: SwinModel and BertModel with MedCLIP's
prefixes, projections and the buffers that its file has (position_ids, relative_position_index)."""
import numpy as np
import torch
import torchvision
import transformers
from collections import OrderedDict
from functools import partial
from philox import weight
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from transformers import BertConfig, BertModel, SwinConfig, SwinModel


def given(name, shape):
    return torch.from_numpy(np.array(weight(name, shape), copy=True).reshape(tuple(shape)))


def resnet():
    net = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=1000)
    state = OrderedDict()
    for k, v in net.state_dict().items():
        if not k.endswith("num_batches_tracked"):
            shape = [d // 16 if d >= 64 else d for d in v.shape]
            state[k] = given(k, [10 if d == 62 else d for d in shape])
    torch.save(state, "public_resnet.pth", _use_new_zipfile_serialization=False)


def sam():
    net = Sam(
        image_encoder=ImageEncoderViT(depth=2, embed_dim=8, img_size=64, mlp_ratio=2, num_heads=1, patch_size=8, qkv_bias=True,
                                      norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True,
                                      global_attn_indexes=[1], window_size=3, out_chans=32),
        prompt_encoder=PromptEncoder(embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=8),
        mask_decoder=MaskDecoder(num_multimask_outputs=3, transformer_dim=32, iou_head_depth=3, iou_head_hidden_dim=16,
                                 transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=16, num_heads=8)))
    torch.save(OrderedDict((k, given(k, v.shape)) for k, v in net.state_dict().items()), "public_sam.pth")


def medclip():
    vision = SwinModel(SwinConfig(image_size=32, patch_size=4, embed_dim=12, depths=[2, 2], num_heads=[3, 6], window_size=4))
    text = BertModel(BertConfig(vocab_size=60, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
                                max_position_embeddings=20))
    state = OrderedDict()
    for prefix, net in (("vision_model.model.", vision), ("text_model.model.", text)):
        for k, v in net.state_dict().items():
            state[prefix + k] = given(prefix + k, v.shape) if v.is_floating_point() else v
    assert "text_model.model.embeddings.position_ids" in state
    for k, shape in (("vision_model.projection_head.weight", (20, 24)), ("text_model.projection_head.weight", (20, 24)),
                     ("logit_scale", ())):
        state[k] = given(k, shape)
    torch.save(state, "public_medclip.bin")


if __name__ == "__main__":
    resnet()
    sam()
    medclip()
    with open("public_versions.txt", "w") as f:
        f.write("make_public.py: torch %s, torchvision %s, transformers %s, segment_anything 1.0, numpy %s; seed 1234\n" %
                (torch.__version__, torchvision.__version__, transformers.__version__, np.__version__))
