"""Random strings that tests/golden/strings.h makes too: string i takes words of the Philox stream (block, 0, i, 0) under
key (seed, FNV-1a of the table's name). 1 + w % parts parts; of each a row of the table, w % rows, and how often it is
drawn from, 1 + w % most; each draw is one of the row's texts or a code point of one of its ranges."""
import philox

# Of ranges all is assigned in Unicode 14, so that no two libraries differ about what a letter is.
LATIN = [
    (8, [(0x61, 0x7A)]), (6, [(0x41, 0x5A)]), (4, [(0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF)]),
    (20, [(0x4E00, 0x9FD5)]), (5, [(0x3400, 0x4DB5), (0xF900, 0xFA6D), (0x20000, 0x2A6D6), (0x3041, 0x3096), (0xAC00, 0xD7A3)]),
    (7, [(0x30, 0x39)]), (4, [(0xFF10, 0xFF19), (0x660, 0x669), (0x2160, 0x2188), (0x2460, 0x249B), (0xBC, 0xBE), (0x1D7CE, 0x1D7FF)]),
    (4, [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)]), (2, [(0x3001, 0x3003), (0x3008, 0x3011), (0xFF01, 0xFF0F), (0x2010, 0x2027)]),
    (3, [(0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
         (0x205F, 0x205F), (0x3000, 0x3000)]),
    (3, [(0x20, 0x20)]), (3, ["\n", "\r\n", "\r", "\n\n", " \n", "\t"]),
    (3, [(0x1F600, 0x1F64F), (0x1F300, 0x1F5FF), (0x1F680, 0x1F6C5), (0x1F3FB, 0x1F3FF), (0x200D, 0x200D), (0xFE0F, 0xFE0F), (0x1F1E6, 0x1F1FF)]),
    (2, ["👩‍⚕️", "🧠", "❤️", "🇨🇳", "👨‍👩‍👧‍👦", "1️⃣"]),
    (1, ["'s", "'T", "'re", "'VE", "'m", "'LL", "'d", "'ſ", "’s", "n't"]),
    (2, [(0x300, 0x36F), (0x180E, 0x180E), (0x200B, 0x200F), (0xFEFF, 0xFEFF), (0x00, 0x1F), (0x7F, 0x84), (0xE000, 0xE00F)]),
    (3, [(0x410, 0x44F), (0x3B1, 0x3C9), (0x621, 0x64A), (0x5D0, 0x5EA), (0x905, 0x939), (0xE01, 0xE30)]),
    (1, ["<|eot_id|>", "<|begin_of_text|>", "[Img]", "[/Img]", "[MRG]", "http://", "e.g. ", "3.5cm×2.0cm", "mm²", "±", "℃"]),
    (6, ["左侧", "右侧", "基底节区", "颞叶", "蛛网膜下腔", "脑室", "见", "低密度影", "，", "。", "边缘", "清晰", "颅骨", "占位", "效应", "密度"]),
    (9, ["the ", "left ", "of ", "and ", "lobe", "brain", " haemorrhage", " density", "ing", ".", ", ", "In ", "CT", "don't "]),
]

# What reports and those who type them put between Chinese words.
REPORT = [
    (9, ["左侧", "右侧", "双侧", "基底节区", "丘脑", "额叶", "颞叶", "枕叶", "半卵圆中心", "小脑", "脑干", "侧脑室旁", "大脑镰", "颅板下", "环池"]),
    (9, ["见", "示", "可见", "未见", "小片状", "斑片状", "点状", "低密度影", "高密度影", "水肿带", "钙化", "边缘欠清晰", "占位效应", "形态正常",
         "增宽", "中线结构居中", "骨质结构完整", "考虑", "建议", "复查", "对比前片", "较前", "吸收", "慢性", "腔隙性脑梗死", "蛛网膜下腔出血"]),
    (2, ["，", "。", "；", "、", "：", "（", "）", "“", "”", "！", "？", "…", "—", "·", "《", "》"]),
    (6, [(0x4E00, 0x9FD5)]), (3, ["张三丰", "李晓明", "王医师", "二〇二四年", "北京协和", "阿尔茨海默", "克雅氏", "帕金森", "吉林", "们", "的", "了", "在"]),
    (2, [(0x9FD6, 0x9FFC), (0x3400, 0x4DB5), (0x20000, 0x2A6D6), (0xF900, 0xFA6D)]),
    (3, [(0x30, 0x39)]), (4, [(0x61, 0x7A), (0x41, 0x5A)]), (2, ["+", "#", "&", ".", "_", "%", "-", ".5", "3.14", "50%", "1.2.3%", "-3.5", "B超", "c#", "AT&T"]),
    (1, ["CT", "MRI", "T1WI", "FLAIR", "10mm×8mm", "约12mm", "CT值45HU", "3.5cm", "S1椎体", "L4/5", "DSA", "ADC", "GCS评分15分", "x射线", "卡拉OK"]),
    (2, [" ", "  ", "\t", "\n", "\r\n", "\r", "\u3000", "\u00a0", "\x1c", "\u2028", "\x85"]),
    (2, [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)]), (1, ["é", "Ω", "ｍｍ", "１２", "㎜", "℃", "±", "😀", "が", "한", "ſ", "٣"]),
]


def strings(table, name, n, seed, parts):
    """The n strings of a table; parts * (2 + 2 * the largest `most`) must be below 4096."""
    key = philox.fnv1a32(name)
    for i in range(n):
        w = iter(philox.words(4096, i, 0, seed, key).tolist())
        out = []
        for _ in range(1 + next(w) % parts):
            most, row = table[next(w) % len(table)]
            for _ in range(1 + next(w) % most):
                x = row[next(w) % len(row)]
                out.append(x if isinstance(x, str) else chr(x[0] + next(w) % (x[1] - x[0] + 1)))
        yield "".join(out)
