"""sam_masks.safetensors: segment-anything's automatic mask generator whole, on shapes drawn into the logits (discs, nested
discs, holes, islands, borders) and on a tiny SAM of random weights; records with their run lengths, in order (parity row
17). No decision lies within rounding: every logit that is compared is at least MARGIN away from its threshold."""
import cv2
import numpy as np
import torch
from functools import partial
from philox import INPUTS, Golden, fill, versions, weight
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils import amg

MARGIN = 3e-6
meta = versions("torchvision", "segment_anything")
g = Golden(what="SAM's automatic masks", cv2=cv2.__version__, **meta)


def number(name, n, low, high):
    """n whole numbers in low..high, from the shared generator."""
    u = (fill((n,), INPUTS, name, 1.0).astype(np.float64) + 1) / 2
    return low + np.floor(u * (high - low + 1)).astype(np.int64)


class Shapes:
    """In the place of the predictor's model: logits of side/4 x side/4 that are drawn, three for each point. Row
    (crop, point, mask): centre x, y (of the low-resolution grid, twice), outer and inner radius twice, island's x, y, radius,
    steepness, iou in 64ths."""

    def __init__(self, name, side, rows):
        low = side // 4
        self.low, self.rows = low, rows
        x, y, r = number(name + ".x", rows, 0, 2 * low), number(name + ".y", rows, 0, 2 * low), number(name + ".r", rows, 5, low)
        hole, kind = number(name + ".hole", rows, 2, 7), number(name + ".kind", rows, 0, 5)
        table = np.stack([x, y, r, np.where(kind == 1, r // 2, np.where(kind == 2, hole, 0)),
                          number(name + ".ix", rows, 0, 2 * low), number(name + ".iy", rows, 0, 2 * low),
                          np.where(kind == 3, number(name + ".ir", rows, 2, 6), 0), number(name + ".steep", rows, 0, 5),
                          number(name + ".iou", rows, 48, 64)], 1)
        # A mask in three is nearly the one before it: for NMS.
        again = number(name + ".again", rows, 0, 2) == 0
        for i in range(1, rows):
            if again[i]:
                table[i, :4] = table[i - 1, :4] + [i % 2, 0, 0, 0]
        self.table = table.astype(np.int32)

    def logits(self, k):
        at = 2 * np.arange(self.low)
        X, Y = at[None, :], at[:, None]
        x, y, r, h, ix, iy, ir, steep, _ = (int(v) for v in self.table[k])
        d = (X - x) ** 2 + (Y - y) ** 2
        v = r * r - d
        if h:
            v = np.minimum(v, d - h * h)
        if ir:
            v = np.maximum(v, ir * ir - (X - ix) ** 2 - (Y - iy) ** 2)
        return np.clip(v, -640, 640).astype(np.float32) * np.float32(2.0 ** -steep / 4) + np.float32(2.0**-7 + 2.0**-15)


def near(x, threshold):
    """How near x comes to the threshold, as a share of what rounding acts on."""
    return (np.abs(x.double().numpy() - threshold) / np.maximum(1, np.abs(x.double().numpy()))).min() if x.numel() else 1


margin, gate = [1.0], [0.0]
stability = amg.calculate_stability_score


def watched(masks, threshold, offset):
    """The logits of masks that pass, and how far the rest are from passing."""
    score = stability(masks, threshold, offset)
    passed = masks[score >= gate[0]]
    margin.append(min(near(passed, threshold + d) for d in (offset, 0, -offset)))
    margin.append(MARGIN * 1e3 * np.nan_to_num((score - gate[0]).abs().numpy(), nan=1).min() if len(score) else 1)
    return score


import segment_anything.automatic_mask_generator as generator
generator.calculate_stability_score = watched


def records(name, found, image):
    counts = [np.array(r["segmentation"]["counts"], dtype=np.int32) for r in found]
    assert len(found) > 4, (name, len(found))
    g.put(name + ".counts", np.concatenate(counts))
    g.put(name + ".runs", np.array([len(c) for c in counts], dtype=np.int32))
    g.put(name + ".whole", np.array([[r["area"], *r["bbox"], *(int(c) for c in r["crop_box"])] for r in found],
                                    dtype=np.int32))
    g.put(name + ".scores", np.array([[r["predicted_iou"], r["stability_score"]] for r in found], dtype=np.float32))
    g.put(name + ".points", np.array([r["point_coords"][0] for r in found], dtype=np.float64))
    g.put(name + ".size", np.array(image.shape[:2], dtype=np.int32))
    print(name, len(found), "records, crops", len({tuple(r["crop_box"]) for r in found}), "margin %.2g" % min(margin))


def drawn(name, side, height, width, **settings):
    """The generator on shapes, the first of a row of them that keep their distance from every threshold."""
    for seed in range(4000):
        found, table, image = draw("%s.%d" % (name, seed), side, height, width, **settings)
        if min(margin) > 10 * MARGIN:
            break
    else:
        raise SystemExit(name + ": no shapes keep their distance")
    g.put(name + ".table", table)
    records(name, found, image)


def draw(name, side, height, width, **settings):
    margin[:], gate[:] = [1.0], [settings["stability_score_thresh"]]
    grids = amg.build_all_layer_point_grids(settings["points_per_side"], settings.get("crop_n_layers", 0),
                                            settings.get("crop_n_points_downscale_factor", 1))
    layers = amg.generate_crop_boxes((height, width), settings.get("crop_n_layers", 0), 512 / 1500)[1]
    shapes = Shapes(name, side, 3 * sum(len(grids[i]) for i in layers))
    model = tiny(side)
    gen = SamAutomaticMaskGenerator(model, output_mode="uncompressed_rle", **settings)
    at = [0]

    def predict(points, labels, multimask_output, return_logits):
        n = 3 * len(points)
        k = range(at[0], at[0] + n)
        at[0] += n
        low = torch.from_numpy(np.stack([shapes.logits(i) for i in k])).reshape(-1, 3, shapes.low, shapes.low)
        iou = torch.from_numpy(shapes.table[list(k), 8].astype(np.float32) / 64).reshape(-1, 3)
        return model.postprocess_masks(low, gen.predictor.input_size, gen.predictor.original_size), iou, low

    def set_image(image):
        h, w = gen.predictor.transform.get_preprocess_shape(*image.shape[:2], side)
        gen.predictor.original_size, gen.predictor.input_size = image.shape[:2], (h, w)

    gen.predictor.predict_torch, gen.predictor.set_image = predict, set_image
    image = np.zeros((height, width, 3), np.uint8)
    found = gen.generate(image)
    assert at[0] == len(shapes.table)
    return found, shapes.table, image


def tiny(side):
    dim, grid = 32, side // 8
    encoder = ImageEncoderViT(img_size=side, patch_size=8, embed_dim=32, depth=2, num_heads=2, out_chans=dim,
                              norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=3,
                              global_attn_indexes=[1])
    prompt = PromptEncoder(embed_dim=dim, image_embedding_size=(grid, grid), input_image_size=(side, side),
                           mask_in_chans=16)
    decoder = MaskDecoder(transformer_dim=dim, num_multimask_outputs=3, iou_head_hidden_dim=32, iou_head_depth=3,
                          transformer=TwoWayTransformer(depth=2, embedding_dim=dim, mlp_dim=64, num_heads=8))
    model = Sam(encoder, prompt, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]).eval()
    state = model.state_dict()
    model.load_state_dict({k: torch.from_numpy(weight(k, v.shape)) for k, v in state.items()}, strict=True)
    return model


def picture(name, height, width):
    """Squares of 8 pixels of random grey, a little noise on top."""
    coarse = fill((-(-height // 8), -(-width // 8), 3), INPUTS, name, 100.0)
    fine = fill((height, width, 3), INPUTS, name + ".noise", 20.0)
    return np.clip(128 + np.kron(coarse, np.ones((8, 8, 1)))[:height, :width] + fine, 0, 255).astype(np.uint8)


def random_sam(name, side, height, width, **settings):
    """The whole of it: the first picture whose records keep their distance from every threshold."""
    model = tiny(side)
    model.mask_threshold = settings.pop("mask_threshold")
    gate[:] = [settings["stability_score_thresh"]]
    for seed in range(4000):
        margin[:] = [1.0]
        image = picture("%s.%d" % (name, seed), height, width)
        gen = SamAutomaticMaskGenerator(model, output_mode="uncompressed_rle", **settings)
        ious = []
        predict = gen.predictor.predict_torch

        def watch(*a, **k):
            out = predict(*a, **k)
            ious.append(out[1])
            return out

        gen.predictor.predict_torch = watch
        found = gen.generate(image)
        iou = torch.cat(ious).double()
        near_iou = (iou - settings["pred_iou_thresh"]).abs().min().item()
        kept = iou.flatten().sort()[0]
        gap = (kept[1:] - kept[:-1]).min().item()
        if min(margin) > MARGIN and near_iou > 1e-5 and gap > 1e-6 and len(found) > 4 and (
                settings.get("crop_n_layers", 0) == 0 or len({tuple(r["crop_box"]) for r in found}) > 1):
            break
    else:
        raise SystemExit(name + ": no picture keeps its distance")
    g.put(name + ".picture", np.array([seed], dtype=np.int32))
    records(name, found, image)


def components(name):
    """remove_small_regions alone, on noise: sizes tie, and all islands may be small. At last a tie in which the first by
    rows is not the first by blocks of 2 x 2."""
    masks, out, changed = [], [], []
    for i, (h, w, share) in enumerate([(24, 31, 0.5), (17, 40, 0.2), (33, 9, 0.08), (12, 12, 0.9), (1, 37, 0.4)]):
        masks.append(fill((h, w), INPUTS, "%s.%d" % (name, i), 0.5) + 0.5 < share)
    tie = np.zeros((6, 7), bool)
    tie[0, 3:5] = tie[1, 0:2] = tie[4, 4] = True
    for m in masks + [tie]:
        for area in (3, 9, 400):
            x, a = amg.remove_small_regions(m, area, "holes")
            x, b = amg.remove_small_regions(x, area, "islands")
            out.append(x.astype(np.uint8).reshape(-1))
            changed.append([*m.shape, area, int(a), int(b)])
    g.put(name + ".in", np.concatenate([m.astype(np.uint8).reshape(-1) for m in masks + [tie]]))
    g.put(name + ".out", np.concatenate(out))
    g.put(name + ".cases", np.array(changed, dtype=np.int32))


def main():
    components("components")
    drawn("square", 64, 64, 64, points_per_side=6, points_per_batch=7, pred_iou_thresh=0.875, stability_score_thresh=0.6)
    drawn("regions", 64, 80, 100, points_per_side=6, pred_iou_thresh=0.8, stability_score_thresh=0.7,
          stability_score_offset=0.5, box_nms_thresh=0.6, min_mask_region_area=60)
    drawn("crops", 64, 48, 36, points_per_side=6, pred_iou_thresh=0.85, stability_score_thresh=0.7, crop_n_layers=2,
          crop_n_points_downscale_factor=2, crop_nms_thresh=0.35, min_mask_region_area=25)
    random_sam("sam", 64, 64, 64, points_per_side=8, pred_iou_thresh=-1.0, stability_score_thresh=0.51, mask_threshold=1.0,
               stability_score_offset=0.03125, box_nms_thresh=0.9)
    random_sam("sam_crops", 64, 96, 120, points_per_side=4, pred_iou_thresh=-1.0, stability_score_thresh=0.51,
               stability_score_offset=0.03125, box_nms_thresh=0.95, crop_nms_thresh=0.9, crop_n_layers=1,
               min_mask_region_area=12, mask_threshold=0.75)
    g.save("sam_masks.safetensors")


if __name__ == "__main__":
    main()
