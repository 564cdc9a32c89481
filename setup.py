from setuptools import find_packages, setup

setup(name='dsrl_mm', version='0.1.0', packages=find_packages(include=['dsrl_mm', 'dsrl_mm.*']))
