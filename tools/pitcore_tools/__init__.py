"""Workstation tools of pitcore: train, export, quantise, evaluate.

They import pitcore, so that training and serving share one preparation code; pitcore never imports them.
"""
