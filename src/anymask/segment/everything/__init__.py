"""Automatic mask generation: find all masks of an image, at once or in tiles, and filter them.

`search` runs all steps (`find_masks`): `grid` selects clicks, which are decoded, and `filter`
selects masks. `tiles` splits large images, `log` resumes an interrupted search, `edges` refines the
masks on the image, and `alike` separates objects of one kind.
"""
