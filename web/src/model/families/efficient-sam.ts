/** EfficientSAM's masks: all of them, asked for or not (`masks/answer.py`). */

import { answersOf, choosing } from "./family";
import type { Decoded, Family } from "./family";

export function efficientSam(): Family {
  const all = ({ planes, score }: Decoded) => answersOf(planes, score);
  return choosing(all, all);
}
