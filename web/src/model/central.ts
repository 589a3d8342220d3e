/** How deep the cells of a mask lie in it (the numbers of `predictors/central.py`). */

// Steps of OpenCV's 5 x 5 mask: along an axis, diagonally, as a knight.
const [AXIS, DIAGONAL, KNIGHT] = [1, 1.4, 2.1969];
const RIM = 2; // cells around the grid, so that every step stays inside
const FIRST = RIM + 1;
const FAR = 1e6;

let room = new Float32Array(0); // kept, since every hover needs it for each of its masks

/** A photo in a mask's cells, and one of them. */
export interface Grid {
  side: number; // m
  height: number; // of the cells that the photo fills
  width: number;
  x: number; // the click's cell
  y: number;
  threshold: number;
}

/** How far a cell (x, y) lies from a mask's edge, and the mask's deepest cell; 0 off the mask. */
export function depthAt(plane: Float32Array, grid: Grid): { depth: number; deepest: number } {
  const { depth, wide, deepest } = measured(plane, grid.side, grid.threshold, grid);
  return { depth: depth[(grid.y + FIRST) * wide + grid.x + FIRST], deepest };
}

/** Where a mask is thickest, x and y in cells, the first such cell; null where it is empty. */
export function deepestCell(
  plane: Float32Array,
  side: number,
  threshold: number,
): [x: number, y: number] | null {
  const { depth, wide } = measured(plane, side, threshold);
  let best: [number, number] | null = null;
  let most = 0;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const rounded = Math.round(depth[(y + FIRST) * wide + x + FIRST] * 1000); // ties as in Python
      if (rounded > most) [most, best] = [rounded, [x, y]];
    }
  }
  return best;
}

interface Depths {
  depth: Float32Array; // (wide, wide), overwritten by the next call
  wide: number;
  deepest: number;
}

/** How far each cell lies from the mask's edge; the grid begins at (FIRST, FIRST). */
function measured(
  plane: Float32Array,
  side: number,
  threshold: number,
  filled = { height: side, width: side }, // by the photo
): Depths {
  const wide = side + 2 + 2 * RIM; // the photo's border counts as the mask's end
  const depth = begun(wide);
  const inside: number[] = [];
  for (let row = 0; row < filled.height; row++) {
    const to = (row + FIRST) * wide + FIRST;
    for (let column = 0, from = row * side; column < filled.width; column++, from++) {
      if (!(plane[from] > threshold)) continue;
      depth[to + column] = FAR;
      relax(depth, to + column, wide, 1);
      inside.push(to + column);
    }
  }
  let deepest = 0;
  for (let i = inside.length - 1; i >= 0; i--) {
    relax(depth, inside[i], wide, -1);
    deepest = Math.max(deepest, depth[inside[i]]);
  }
  return { depth, wide, deepest };
}

/** (wide, wide): far on the rim, 0 within it. */
function begun(wide: number): Float32Array {
  if (room.length !== wide * wide) room = new Float32Array(wide * wide);
  const depth = room.fill(FAR);
  for (let row = RIM; row < wide - RIM; row++) {
    depth.fill(0, row * wide + RIM, (row + 1) * wide - RIM);
  }
  return depth;
}

/** The shortest way to a cell through the neighbours before it (sign 1) or behind it (-1). */
function relax(depth: Float32Array, at: number, wide: number, sign: 1 | -1): void {
  const row = at - sign * wide;
  const far = row - sign * wide;
  const axis = Math.min(depth[at - sign], depth[row]) + AXIS;
  const diagonal = Math.min(depth[row - 1], depth[row + 1]) + DIAGONAL;
  const knight = Math.min(depth[row - 2], depth[row + 2], depth[far - 1], depth[far + 1]) + KNIGHT;
  depth[at] = Math.min(depth[at], axis, diagonal, knight);
}
