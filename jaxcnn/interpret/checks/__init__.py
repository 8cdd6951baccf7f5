"""Tests of attribution methods: do they depend on the parameters, on the image, on its noise?"""
