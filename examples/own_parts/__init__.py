r"""One of each part that users bring: a VAE, a text encoder, a trainer's target, a source.

With this folder's parent on PYTHONPATH, 24 made-up images are encoded without a fork of anything:

    energon-prep encode 24 ENCODED --source-kind own_parts.shapes:Shapes \
        --recipe own_parts/recipe.yaml
    energon-prep verify ENCODED
"""
