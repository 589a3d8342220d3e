/** Connected regions of a small mask, 8-connected. */

/** A number for each cell: 0 off the mask, else its region's, from 1 on. */
export function regions(mask: Uint8Array, height: number, width: number): Int32Array {
  const labels = new Int32Array(mask.length);
  const stack: number[] = [];
  let count = 0;
  for (let seed = 0; seed < mask.length; seed++) {
    if (!mask[seed] || labels[seed]) continue;
    labels[seed] = ++count;
    stack.push(seed);
    while (stack.length) {
      const at = stack.pop()!;
      const y = Math.floor(at / width);
      const x = at % width;
      for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
        for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
          const next = ny * width + nx;
          if (mask[next] && !labels[next]) {
            labels[next] = count;
            stack.push(next);
          }
        }
      }
    }
  }
  return labels;
}
