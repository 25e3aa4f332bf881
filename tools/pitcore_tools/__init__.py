"""Workstation tools of pitcore: train, export, quantise, evaluate.

They import pitcore, so that training and the service use the same preprocessing; pitcore never imports them.
"""
