/** EfficientSAM's masks: all of them, asked for or not (`masks/answer.py`). */

import { answersOf, choosing, type Decoded, type Family } from "./family";

export function efficientSam(): Family {
  const all = ({ planes, score }: Decoded) => answersOf(planes, score);
  return choosing(all, all);
}
