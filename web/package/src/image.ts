/** Whatever shows an image -> its pixels, upright, as a bitmap that a worker can be sent. */

import type { ImageSource } from "../index";

/** Throws an Error that says what was wanted, for an image that cannot be read. */
export async function imageToBitmap(image: ImageSource): Promise<ImageBitmap> {
  const given = typeof image === "string" || image instanceof URL ? await fetched(image) : image;
  if (given instanceof HTMLImageElement) await given.decode().catch(() => null);
  try {
    return await createImageBitmap(given, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
    });
  } catch (error) {
    throw new Error(
      `The image cannot be read (${named(image)}: ${error instanceof Error ? error.message : error}). ` +
        "Pass a loaded image element, canvas, ImageBitmap, Blob or URL.",
    );
  }
}

async function fetched(address: string | URL): Promise<Blob> {
  const reply = await fetch(address);
  if (reply.ok) return reply.blob();
  throw new Error(
    `The image at ${address} could not be loaded: HTTP status ${reply.status}. Check the URL.`,
  );
}

function named(image: unknown): string {
  return image instanceof Object ? image.constructor.name : String(image);
}
