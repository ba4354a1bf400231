// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

interface IToken {
    function balanceOf(address owner) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// A constant-product pool of ether and one token; what it holds are its reserves. Every swap changes both, so all
/// swaps contend for the same two cells: the pool's ether and its tokens.
contract Pool {
    IToken public constant token = IToken(0x70CE000000000000000000000000000000000001); // where genesis puts it

    event Swap(address indexed trader, bool bought, uint256 etherAmount, uint256 tokenAmount);

    /// Buys tokens with the ether sent along, less 0.3 %, if they are at least `leastTokens`.
    function buy(uint256 leastTokens) external payable returns (uint256 tokens) {
        tokens = out(msg.value, address(this).balance - msg.value, token.balanceOf(address(this)));
        require(tokens >= leastTokens, "too little");
        emit Swap(msg.sender, true, msg.value, tokens);
        require(token.transfer(msg.sender, tokens));
    }

    /// Sells tokens, which the pool must be allowed to take, for ether, less 0.3 %, if it is at least `leastEther`.
    function sell(uint256 tokens, uint256 leastEther) external returns (uint256 received) {
        received = out(tokens, token.balanceOf(address(this)), address(this).balance);
        require(received >= leastEther, "too little");
        emit Swap(msg.sender, false, received, tokens);
        require(token.transferFrom(msg.sender, address(this), tokens));
        (bool paid,) = msg.sender.call{value: received}("");
        require(paid);
    }

    /// What an amount of one side buys of the other: the product of the reserves does not fall.
    function out(uint256 amount, uint256 reserveIn, uint256 reserveOut) public pure returns (uint256) {
        uint256 less = amount * 997;
        return (less * reserveOut) / (reserveIn * 1000 + less);
    }
}
