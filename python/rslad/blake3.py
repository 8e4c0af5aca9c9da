"""BLAKE3 (unkeyed, 32 bytes) in NumPy, over many messages of one length or over the chunks of a long one at once.

Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3: one function, fast everywhere", 2020.
"""
import numpy as np

_IV = np.array([0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_COLUMNS_THEN_DIAGONALS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
_CHUNK, _BLOCK = 1024, 64


def hash_rows(messages):
    """Digests (N, 32) u8 of N messages of equal length, (N, bytes) u8."""
    messages = np.ascontiguousarray(messages, np.uint8)
    count, length = messages.shape
    chunks = max(1, -(-length // _CHUNK))
    values = []
    for number in range(chunks):
        values.append(_chunk(messages[:, number * _CHUNK:(number + 1) * _CHUNK], number, chunks == 1))
    return _digest(_tree(np.stack(values, 1)))


def hash_bytes(data):
    """The digest of one message, as lower-case hexadecimal digits."""
    data = np.frombuffer(data, np.uint8)
    full = len(data) // _CHUNK
    if full < 2:
        return hash_rows(data[None])[0].tobytes().hex()
    whole = data[:full * _CHUNK].reshape(full, _CHUNK)
    # 16 MiB at a time.
    step = 1 << 14
    values = [_chunk(whole[at:at + step], np.arange(at, min(at + step, full)), False) for at in range(0, full, step)]
    if len(data) > full * _CHUNK:
        values.append(_chunk(data[None, full * _CHUNK:], full, False))
    return _digest(_tree(np.concatenate(values)[None]))[0].tobytes().hex()


def _tree(values):
    """(N, 8) from (N, chunks, 8). Neighbours join level by level and one that is left over moves up: the tree whose left
    halves are the largest powers of two."""
    while values.shape[1] > 1:
        pairs = values.shape[1] // 2
        flags = _PARENT | (_ROOT if values.shape[1] == 2 else 0)
        joined = values[:, :2 * pairs].reshape(-1, 16)
        chained = np.broadcast_to(_IV, (len(joined), 8))
        parents = _compress(chained, joined, 0, _BLOCK, flags).reshape(len(values), pairs, 8)
        values = np.concatenate([parents, values[:, 2 * pairs:]], 1)
    return values[:, 0]


def _chunk(data, counter, is_root):
    """Chaining values (N, 8) of N chunks (N, bytes); `counter` is a number, or one for each."""
    count, length = data.shape
    blocks = max(1, -(-length // _BLOCK))
    padded = np.zeros((count, blocks * _BLOCK), np.uint8)
    padded[:, :length] = data
    words = padded.view("<u4").reshape(count, blocks, 16)
    chained = np.broadcast_to(_IV, (count, 8))
    for number in range(blocks):
        is_last = number == blocks - 1
        flags = (_CHUNK_START if number == 0 else 0) | (_CHUNK_END if is_last else 0)
        flags |= _ROOT if is_last and is_root else 0
        size = length - number * _BLOCK if is_last else _BLOCK
        chained = _compress(chained, words[:, number], counter, size, flags)
    return chained


def _compress(chained, block, counter, size, flags):
    """The first eight words (N, 8) of the compression of N blocks (N, 16)."""
    count = len(block)
    counter = np.broadcast_to(np.asarray(counter, np.uint64), count)
    v = [chained[:, i].copy() for i in range(8)] + [np.full(count, word, np.uint32) for word in _IV[:4]]
    v += [counter.astype(np.uint32), (counter >> np.uint64(32)).astype(np.uint32)]
    v += [np.full(count, size, np.uint32), np.full(count, flags, np.uint32)]
    m = [block[:, i] for i in range(16)]
    for _ in range(7):
        for number, (a, b, c, d) in enumerate(_COLUMNS_THEN_DIAGONALS):
            for word, first, second in ((m[2 * number], 16, 12), (m[2 * number + 1], 8, 7)):
                v[a] = v[a] + v[b] + word
                v[d] = _turned(v[d] ^ v[a], first)
                v[c] = v[c] + v[d]
                v[b] = _turned(v[b] ^ v[c], second)
        m = [m[i] for i in _PERMUTATION]
    return np.stack([v[i] ^ v[i + 8] for i in range(8)], 1)


def _turned(words, bits):
    return words >> np.uint32(bits) | words << np.uint32(32 - bits)


def _digest(words):
    return np.ascontiguousarray(words.astype("<u4")).view(np.uint8).reshape(len(words), 32)
