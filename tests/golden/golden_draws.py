"""What osv draws for a job by Philox4x32-10 (Salmon et al. 2011), keyed by a seed, the name of the job and a number."""


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def sign(job, number, seed=0):
    """Of a job, for the step after `number` others: +1 or -1."""
    h = 0xCBF29CE484222325
    for byte in job.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    words = philox((number, 0x7FFFFFFF, h % 2**32, h >> 32), (seed % 2**32, seed >> 32))
    return 1 if words[0] & 1 else -1
