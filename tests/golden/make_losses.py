"""losses.safetensors: Dice and InfoNCE against torch's autograd in double (parity row 23). Inputs are those of the shared
generator. Of each loss and gradient a case stores the taps and, for the formula itself, the loss and PROBES elements of
each gradient in double."""
import numpy as np
import torch
from philox import INPUTS, Golden, fill, versions

torch.set_default_dtype(torch.float64)
F = torch.nn.functional
g = Golden(what="Dice and InfoNCE, double", **versions())
PROBES = 8


def tensor(name, shape, a=1.0):
    return torch.from_numpy(fill(shape, INPUTS, name, a)).double().requires_grad_()


def store(name, loss, **inputs):
    loss.backward()
    g.tap(name + ".y", loss.reshape(1))
    g.put(name + ".y.exact", loss.detach().numpy().reshape(1))
    for key, x in inputs.items():
        g.tap(name + ".d" + key, x.grad)
        flat, n = x.grad.numpy().reshape(-1), min(x.numel(), PROBES)
        g.put(name + ".d" + key + ".exact", flat[np.arange(n) * x.numel() // n])


for M in (2, 5, 28):
    for smooth in (False, True):
        x = tensor("dice%d.x" % M, (M, 196), 3.0)
        y = (torch.from_numpy(fill((M, 196), INPUTS, "dice%d.y" % M, 1.0)) > 0.5).double()
        y[0] = 0  # a slice without a lesion
        p = torch.sigmoid(x)
        p.retain_grad()
        if smooth:
            each = 1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
        else:
            each = 1 - 2 * (p * y).sum(1) / ((p**2).sum(1) + (y**2).sum(1) + 1e-6)
        store("dice%d.%s" % (M, "smooth" if smooth else "printed"), each.mean(), p=p)
        g.tap("dice%d.%s.dx" % (M, "smooth" if smooth else "printed"), x.grad)


def contrast(v, w, k, alpha_v, alpha_w, include_self, mean, same):
    n = v.shape[0]
    s = k * F.cosine_similarity(v[:, None], w[None], dim=-1)
    loss = torch.zeros(())
    for i in range(n):
        keep = [j for j in range(n) if (include_self if j == i else same is None or same[i] != same[j])]
        if keep:
            loss = loss + alpha_v / 2 * (torch.logsumexp(s[i, keep], 0) - s[i, i])
            loss = loss + alpha_w / 2 * (torch.logsumexp(s[keep, i], 0) - s[i, i])
    if include_self and mean and same is None:
        want = (alpha_v * F.cross_entropy(s, torch.arange(n)) + alpha_w * F.cross_entropy(s.T, torch.arange(n))) / 2
        assert abs(loss / n - want) < 1e-12
    return loss / n if mean else loss


for n in (2, 5, 28):
    v, w = "infonce%d.v" % n, "infonce%d.w" % n
    same = [i % ((n + 1) // 2) for i in range(n)]
    for name, alphas, scale, standard, groups in (("printed", (1, 1), None, False, None), ("uneven", (0.75, 1.25), None, False, None),
                                                  ("standard", (1, 1), None, True, None), ("learnt", (0.75, 1.25), 2.6592, True, None),
                                                  ("groups", (0.75, 1.25), 2.6592, False, same)):
        v, w = tensor("infonce%d.v" % n, (n, 512)), tensor("infonce%d.w" % n, (n, 512))
        w.data += 0.5 * v.data  # pairs agree
        inputs = {"v": v, "w": w}
        if scale:
            inputs["s"] = torch.tensor([float(np.float32(scale))], requires_grad=True)
        k = torch.exp(inputs["s"]) if scale else 1 / 0.07
        # a group of two out of two leaves every denominator empty: the loss is 0 and depends on nothing
        loss = contrast(v, w, k, *alphas, standard, standard, groups) + 0 * sum(x.sum() for x in inputs.values())
        store("infonce%d.%s" % (n, name), loss.reshape(()), **inputs)

g.save("tests/golden/losses.safetensors")
