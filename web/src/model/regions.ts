/** Connected regions of a mask. */

/**
 * A number for each pixel: 0 off the mask, else its region's, from 1 on in reading order.
 *
 * Runs of each row are joined to those that they touch in the row above, so that masks of an image's
 * size take milliseconds.
 *
 * @param corners whether pixels that touch at a corner alone are one region, too
 */
export function regions(
  mask: Uint8Array,
  height: number,
  width: number,
  corners = true,
): Int32Array {
  const beside = corners ? 1 : 0;
  const labels = new Int32Array(mask.length);
  const parent: number[] = [0];
  const rootOf = (one: number) => {
    let root = one;
    while (parent[root] !== root) root = parent[root];
    while (parent[one] !== root) [one, parent[one]] = [parent[one], root];
    return root;
  };
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let x = 0; x < width; x++) {
      if (!mask[row + x]) continue;
      let own = 0;
      const start = x;
      while (x < width && mask[row + x]) x++;
      const last = Math.min(width - 1, x - 1 + beside);
      for (let at = Math.max(0, start - beside); y && at <= last; at++) {
        const above = labels[row - width + at];
        if (!above) continue;
        const root = rootOf(above);
        if (own && root !== own) parent[Math.max(own, root)] = Math.min(own, root);
        own = own ? Math.min(own, root) : root;
        while (at < x && labels[row - width + at + 1] === above) at++; // the rest of its run
      }
      if (!own) parent.push((own = parent.length));
      labels.fill(own, row + start, row + x);
    }
  }
  return numbered(labels, parent);
}

/** The same regions, numbered without gaps. */
function numbered(labels: Int32Array, parent: readonly number[]): Int32Array {
  const numbers = new Int32Array(parent.length);
  let count = 0;
  for (let one = 1; one < parent.length; one++) {
    numbers[one] = parent[one] === one ? ++count : numbers[parent[one]];
  }
  for (let at = 0; at < labels.length; at++) if (labels[at]) labels[at] = numbers[labels[at]];
  return labels;
}

/** The pixels of each region, by its number. */
export function sizesOf(labels: Int32Array): Float64Array {
  let count = 0;
  for (let i = 0; i < labels.length; i++) if (labels[i] > count) count = labels[i];
  const sizes = new Float64Array(count + 1);
  for (let i = 0; i < labels.length; i++) sizes[labels[i]]++;
  return sizes;
}

/** The first of the largest regions; 0 where there is none. */
export function largestOf(sizes: Float64Array): number {
  let largest = Math.min(1, sizes.length - 1);
  for (let one = 2; one < sizes.length; one++) if (sizes[one] > sizes[largest]) largest = one;
  return largest;
}
