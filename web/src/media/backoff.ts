/** Doubling waits from `first` to `most`, with a little jitter so that nine tiles do not knock at once. */
export class Backoff {
  private n = 0;
  private readonly first: number; private readonly most: number; private readonly random: () => number;
  constructor(first: number, most: number, random: () => number = Math.random) { this.first = first; this.most = most; this.random = random; }
  next(): number {
    const base = Math.min(this.most, this.first * 2 ** this.n);
    this.n = Math.min(this.n + 1, 20);
    return Math.min(this.most, Math.round(base * (1 + 0.2 * this.random())));
  }
  reset() { this.n = 0; }
  get tries() { return this.n; }
}
