"""Nodes on any hosts: who they are, how they prove it, and how one driver reaches them."""
