/** EfficientSAM's masks: all of them, asked for or not (`models/rules/sam.py`). */

import { answersOf, choosing } from "./family";
import type { Decoded, Family } from "./family";

export function efficientSam(): Family {
  const all = ({ planes, quality }: Decoded) => answersOf(planes, quality);
  return choosing(all, all);
}
