/** SAM: token 0 for a clear prompt, the other three for a lone click (`masks/answer.py`). */

import { answersOf, choosing, type Family } from "./family";

export function sam(): Family {
  return choosing(
    ({ planes, score }) => answersOf(planes.slice(1), score.subarray(1)),
    ({ planes, score }) => answersOf(planes.slice(0, 1), score),
  );
}
